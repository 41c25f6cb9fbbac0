package Shop::Inventory;

use 5.010;
use strict;
use warnings;
use Carp qw(croak carp);
use List::Util qw(sum0 first max);
use Scalar::Util qw(blessed looks_like_number);

our $VERSION = '1.42';

=encoding utf8

=head1 NAME

Shop::Inventory - what lies on which shelf

=head1 SYNOPSIS

    my $inventory = Shop::Inventory->new( warehouse => 'north' );
    $inventory->receive( 'tea-250', 40, shelf => 'B7' );
    $inventory->issue( 'tea-250', 3 );
    say $inventory->on_hand('tea-250');    # 37

=head1 DESCRIPTION

Each article lies on one or more shelves. Goods are taken from the shelf that
was filled first. Every movement is kept, so that a stock-taking can be
explained later.

=cut

sub new {
    my ( $class, %arg ) = @_;
    my $self = bless {
        warehouse => delete $arg{warehouse} // croak('warehouse is required'),
        lots      => {},
        journal   => [],
        clock     => delete $arg{clock} // sub { time },
    }, $class;
    croak 'unknown arguments: ' . join ', ', sort keys %arg if %arg;
    return $self;
}

=head2 receive( $sku, $quantity, shelf => $shelf )

Books goods in; dies unless the quantity is positive.

=cut

sub receive {
    my ( $self, $sku, $quantity, %arg ) = @_;
    _check($quantity);
    push @{ $self->{lots}{$sku} }, { shelf => $arg{shelf} // '-', quantity => $quantity };
    return $self->_record( in => $sku, $quantity );
}

=head2 issue( $sku, $quantity )

Takes goods out, oldest lot first. Returns the shelves to walk to, as a list of
C<[ $shelf, $quantity ]>.

=cut

sub issue {
    my ( $self, $sku, $quantity ) = @_;
    _check($quantity);
    my $there = $self->on_hand($sku);
    croak "only $there of $sku, $quantity wanted" if $there < $quantity;
    my @picks;
    my $left = $quantity;
    while ( $left > 0 ) {
        my $lot  = $self->{lots}{$sku}[0];
        my $take = $lot->{quantity} < $left ? $lot->{quantity} : $left;
        push @picks, [ $lot->{shelf}, $take ];
        $lot->{quantity} -= $take;
        $left -= $take;
        shift @{ $self->{lots}{$sku} } unless $lot->{quantity};
    }
    $self->_record( out => $sku, $quantity );
    return @picks;
}

sub on_hand {
    my ( $self, $sku ) = @_;
    return sum0 map { $_->{quantity} } @{ $self->{lots}{$sku} || [] };
}

sub journal { return @{ $_[0]{journal} } }

sub _record {
    my ( $self, $kind, $sku, $quantity ) = @_;
    push @{ $self->{journal} }, [ $self->{clock}->(), $kind, $sku, $quantity ];
    return $self;
}

sub _check {
    my $quantity = shift;
    croak "quantity must be a positive number, got '" . ( $quantity // 'undef' ) . "'"
        unless looks_like_number($quantity) && $quantity > 0;
}

1;

__END__

=head1 SEE ALSO

L<Shop::Order>, L<Shop::Stocktaking>

=head1 LICENSE

Apache License, Version 2.0.

=cut
